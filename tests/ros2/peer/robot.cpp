// A simulated robot on eProsima Fast DDS, the default middleware of ROS 2 Humble, with the topics,
// types and layouts of ROS 2. Only tests use it, as a second implementation of DDS.
//
// robot DOMAIN JOINT…: publishes joint states and the object's pose 50 times a second until its
// input is closed, moves its joints to the trajectories that it receives, and prints what it sends
// and receives. All traffic stays on loopback.

#include <atomic>
#include <chrono>
#include <cstdint>
#include <iostream>
#include <memory>
#include <mutex>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include <fastcdr/Cdr.h>
#include <fastdds/dds/domain/DomainParticipant.hpp>
#include <fastdds/dds/domain/DomainParticipantFactory.hpp>
#include <fastdds/dds/publisher/DataWriter.hpp>
#include <fastdds/dds/publisher/Publisher.hpp>
#include <fastdds/dds/subscriber/DataReader.hpp>
#include <fastdds/dds/subscriber/DataReaderListener.hpp>
#include <fastdds/dds/subscriber/SampleInfo.hpp>
#include <fastdds/dds/subscriber/Subscriber.hpp>
#include <fastdds/dds/topic/TopicDataType.hpp>
#include <fastdds/dds/topic/TypeSupport.hpp>
#include <fastdds/rtps/transport/UDPv4TransportDescriptor.h>
#include <fastrtps/utils/IPLocator.h>

using namespace eprosima::fastdds::dds;
using eprosima::fastcdr::Cdr;
using eprosima::fastcdr::FastBuffer;
using eprosima::fastrtps::rtps::InstanceHandle_t;
using eprosima::fastrtps::rtps::SerializedPayload_t;

struct Header
{
    int32_t sec = 0;
    uint32_t nanosec = 0;
    std::string frame_id;
};

struct JointState
{
    Header header;
    std::vector<std::string> name;
    std::vector<double> position, velocity, effort;
};

struct PoseStamped
{
    Header header;
    double numbers[7] = {0, 0, 0, 0, 0, 0, 1};  // position, then orientation x y z w
};

struct Point
{
    std::vector<double> positions, velocities, accelerations, effort;
    int32_t sec = 0;
    uint32_t nanosec = 0;
};

struct JointTrajectory
{
    Header header;
    std::vector<std::string> joint_names;
    std::vector<Point> points;
};

template<class C, class H>
void header(C& cdr, H& value)
{
    cdr(value.sec);
    cdr(value.nanosec);
    cdr(value.frame_id);
}

// Each message lists its fields once, for both directions.
struct Write
{
    Cdr& cdr;

    template<class V>
    void operator()(const V& value) { cdr << value; }

    template<class V, class F>
    void each(const std::vector<V>& values, F field)
    {
        cdr << static_cast<uint32_t>(values.size());
        for (const V& value : values) { field(value); }
    }
};

struct Read
{
    Cdr& cdr;

    template<class V>
    void operator()(V& value) { cdr >> value; }

    template<class V, class F>
    void each(std::vector<V>& values, F field)
    {
        uint32_t size = 0;
        cdr >> size;
        values.resize(size);
        for (V& value : values) { field(value); }
    }
};

template<class C, class M>
void fields(C& cdr, M& m, const JointState*)
{
    header(cdr, m.header);
    cdr(m.name);
    cdr(m.position);
    cdr(m.velocity);
    cdr(m.effort);
}

template<class C, class M>
void fields(C& cdr, M& m, const PoseStamped*)
{
    header(cdr, m.header);
    for (auto& number : m.numbers) { cdr(number); }
}

template<class C, class M>
void fields(C& cdr, M& m, const JointTrajectory*)
{
    header(cdr, m.header);
    cdr(m.joint_names);
    cdr.each(m.points, [&cdr](auto& point) {
        cdr(point.positions);
        cdr(point.velocities);
        cdr(point.accelerations);
        cdr(point.effort);
        cdr(point.sec);
        cdr(point.nanosec);
    });
}

std::mutex printing;

void print(const std::string& line)
{
    std::lock_guard<std::mutex> lock(printing);
    std::cout << line << std::endl;
}

// Type support written by hand, as rmw_fastrtps has its own: no type object is sent.
template<class M>
class Type : public TopicDataType
{
public:
    Type(const char* name)
    {
        setName(name);
        m_typeSize = 65536;
        m_isGetKeyDefined = false;
        auto_fill_type_object(false);
        auto_fill_type_information(false);
    }

    bool serialize(void* data, SerializedPayload_t* payload) override
    {
        FastBuffer buffer(reinterpret_cast<char*>(payload->data), payload->max_size);
        Cdr cdr(buffer, Cdr::LITTLE_ENDIANNESS, Cdr::DDS_CDR);
        payload->encapsulation = CDR_LE;
        cdr.serialize_encapsulation();
        Write write{cdr};
        const M& message = *static_cast<const M*>(data);
        fields(write, message, static_cast<const M*>(nullptr));
        payload->length = static_cast<uint32_t>(cdr.getSerializedDataLength());
        std::ostringstream hex;
        hex << "sent " << getName() << " ";
        for (uint32_t i = 0; i < payload->length; ++i)
        {
            hex << "0123456789abcdef"[payload->data[i] >> 4]
                << "0123456789abcdef"[payload->data[i] & 15];
        }
        print(hex.str());
        return true;
    }

    bool deserialize(SerializedPayload_t* payload, void* data) override
    {
        FastBuffer buffer(reinterpret_cast<char*>(payload->data), payload->length);
        Cdr cdr(buffer, Cdr::DEFAULT_ENDIAN, Cdr::DDS_CDR);
        cdr.read_encapsulation();
        Read read{cdr};
        fields(read, *static_cast<M*>(data), static_cast<const M*>(nullptr));
        return true;
    }

    std::function<uint32_t()> getSerializedSizeProvider(void*) override
    {
        return [this]() { return m_typeSize; };
    }

    void* createData() override { return new M(); }
    void deleteData(void* data) override { delete static_cast<M*>(data); }
    bool getKey(void*, InstanceHandle_t*, bool) override { return false; }
};

std::mutex moving;
JointState state;

class Commands : public DataReaderListener
{
public:
    void on_data_available(DataReader* reader) override
    {
        JointTrajectory message;
        SampleInfo info;
        while (reader->take_next_sample(&message, &info) == ReturnCode_t::RETCODE_OK)
        {
            if (!info.valid_data || message.points.size() != 1) { continue; }
            const Point& point = message.points[0];
            std::ostringstream line;
            line.precision(17);
            line << "command " << point.sec << " " << point.nanosec;
            std::lock_guard<std::mutex> lock(moving);
            for (size_t i = 0; i < message.joint_names.size(); ++i)
            {
                line << " " << message.joint_names[i] << "=" << point.positions.at(i);
                for (size_t j = 0; j < state.name.size(); ++j)
                {
                    if (state.name[j] == message.joint_names[i])
                    {
                        state.position[j] = point.positions[i];
                    }
                }
            }
            print(line.str());
        }
    }
};

DomainParticipant* join(uint32_t domain)
{
    DomainParticipantQos qos;
    auto udp = std::make_shared<eprosima::fastdds::rtps::UDPv4TransportDescriptor>();
    udp->interfaceWhiteList.push_back("127.0.0.1");
    qos.transport().use_builtin_transports = false;
    qos.transport().user_transports.push_back(udp);
    // There is no multicast on loopback: participants are looked for by port.
    eprosima::fastrtps::rtps::Locator_t peer;
    peer.kind = LOCATOR_KIND_UDPv4;
    eprosima::fastrtps::rtps::IPLocator::setIPv4(peer, 127, 0, 0, 1);
    peer.port = 0;
    qos.wire_protocol().builtin.initialPeersList.push_back(peer);
    return DomainParticipantFactory::get_instance()->create_participant(domain, qos);
}

template<class M>
Topic* topic(DomainParticipant* participant, const char* name, const char* type)
{
    TypeSupport support(new Type<M>(type));
    support.register_type(participant);
    return participant->create_topic(name, type, TOPIC_QOS_DEFAULT);
}

int main(int argc, char** argv)
{
    if (argc < 3) { return 2; }
    for (int i = 2; i < argc; ++i) { state.name.push_back(argv[i]); }
    state.position.assign(state.name.size(), 0.0);
    state.velocity.assign(state.name.size(), 0.0);
    DomainParticipant* participant = join(static_cast<uint32_t>(std::stoul(argv[1])));
    if (participant == nullptr) { return 1; }
    Publisher* publisher = participant->create_publisher(PUBLISHER_QOS_DEFAULT);
    Subscriber* subscriber = participant->create_subscriber(SUBSCRIBER_QOS_DEFAULT);

    DataWriterQos reliable = DATAWRITER_QOS_DEFAULT;  // reliable, volatile, keep last, as in rclcpp
    reliable.durability().kind = VOLATILE_DURABILITY_QOS;
    reliable.history().depth = 10;
    DataWriterQos sensor = reliable;
    sensor.reliability().kind = BEST_EFFORT_RELIABILITY_QOS;
    DataReaderQos commands = DATAREADER_QOS_DEFAULT;
    commands.reliability().kind = RELIABLE_RELIABILITY_QOS;

    DataWriter* states = publisher->create_datawriter(
        topic<JointState>(participant, "rt/joint_states", "sensor_msgs::msg::dds_::JointState_"),
        reliable);
    DataWriter* poses = publisher->create_datawriter(
        topic<PoseStamped>(participant, "rt/pen_pose", "geometry_msgs::msg::dds_::PoseStamped_"),
        sensor);
    Commands listener;
    DataReader* reader = subscriber->create_datareader(
        topic<JointTrajectory>(participant, "rt/joint_trajectory_controller/joint_trajectory",
        "trajectory_msgs::msg::dds_::JointTrajectory_"), commands, &listener);
    if (states == nullptr || poses == nullptr || reader == nullptr) { return 1; }
    print("ready");

    std::atomic<bool> stopped{false};
    std::thread input([&stopped]() {
        std::string line;
        while (std::getline(std::cin, line)) {}
        stopped = true;
    });
    PoseStamped pose;
    pose.header.frame_id = "base_link";
    pose.numbers[0] = 0.4;
    pose.numbers[2] = 0.2;
    while (!stopped)
    {
        auto now = std::chrono::system_clock::now().time_since_epoch();
        auto nanoseconds = std::chrono::duration_cast<std::chrono::nanoseconds>(now).count();
        pose.header.sec = static_cast<int32_t>(nanoseconds / 1000000000);
        pose.header.nanosec = static_cast<uint32_t>(nanoseconds % 1000000000);
        JointState message;
        {
            std::lock_guard<std::mutex> lock(moving);
            state.header.sec = pose.header.sec;
            state.header.nanosec = pose.header.nanosec;
            message = state;
        }
        states->write(&message);
        poses->write(&pose);
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    input.join();
    participant->delete_contained_entities();
    DomainParticipantFactory::get_instance()->delete_participant(participant);
    return 0;
}
